package console

func (s *server) serviceRoutes() {}
