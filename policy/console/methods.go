package console

func (s *server) methodRoutes() {}
