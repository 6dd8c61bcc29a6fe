package console

func (s *server) programRoutes() {}
